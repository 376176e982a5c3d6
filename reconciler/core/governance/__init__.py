"""What an agent may do, decided outside of its model."""
