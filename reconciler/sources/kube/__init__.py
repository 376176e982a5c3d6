"""The cluster as a source of declarations and a sink of status. Start with `operator.KubeController`."""
