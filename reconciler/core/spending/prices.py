"""What a model costs where pi does not say. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property

MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of answers: read, written, read from the provider's cache, written into it."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0

    @property
    def total(self) -> int:
        return self.input + self.output + self.cache_read + self.cache_write

    def __add__(self, other: Tokens) -> Tokens:
        return Tokens(
            self.input + other.input,
            self.output + other.output,
            self.cache_read + other.cache_read,
            self.cache_write + other.cache_write,
        )


NO_TOKENS = Tokens()


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars for a million tokens of each sort."""

    input: Decimal
    output: Decimal
    cache_read: Decimal = Decimal(0)
    cache_write: Decimal = Decimal(0)

    def of(self, tokens: Tokens) -> Decimal:
        """What these tokens cost."""
        total = self.input * tokens.input + self.output * tokens.output
        return (total + self.cache_read * tokens.cache_read + self.cache_write * tokens.cache_write) / MILLION


@dataclass(frozen=True)
class Prices:
    """By `PROVIDER/MODEL`."""

    listed: tuple[tuple[str, Price], ...] = ()

    @cached_property
    def _found(self) -> dict[str, Price]:
        return dict(self.listed)

    def get(self, model: str) -> Price | None:
        """Of a model; None where nobody knows it."""
        return self._found.get(model)

    def with_(self, others: Mapping[str, Price]) -> Prices:
        """With these too, or instead."""
        return Prices(tuple({**self._found, **others}.items()))


def _price(read: str, written: str, cache_read: str = "0", cache_write: str = "0") -> Price:
    return Price(Decimal(read), Decimal(written), Decimal(cache_read), Decimal(cache_write))


DEFAULT_PRICES = Prices().with_(
    {
        "anthropic/claude-opus-4-5": _price("5", "25", "0.5", "6.25"),
        "anthropic/claude-sonnet-4-5": _price("3", "15", "0.3", "3.75"),
        "anthropic/claude-haiku-4-5": _price("1", "5", "0.1", "1.25"),
        "openai/gpt-5": _price("1.25", "10", "0.125"),
        "openai/gpt-5-mini": _price("0.25", "2", "0.025"),
        "openai/gpt-5-nano": _price("0.05", "0.4", "0.005"),
        "google/gemini-2.5-pro": _price("1.25", "10", "0.31"),
        "google/gemini-2.5-flash": _price("0.3", "2.5", "0.075"),
    }
)
"""List prices of models that are often used, for answers to which pi adds no cost; `[prices]` of the configuration adds to them and
replaces them."""
