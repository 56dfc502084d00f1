"""The method of fields that were made elsewhere."""

from dataclasses import dataclass
from typing import ClassVar

from regbench.api import Card, Field, Method, Pair
from regbench.errors import RunError

FIELDS = "fields"


@dataclass(frozen=True)
class GivenFields(Method):
    """Stands where a record asks for a method, and registers nothing: its fields were made by somebody else."""

    card: ClassVar[Card] = Card(title="Given fields", summary="Displacement fields that were made elsewhere.")

    def register(self, pair: Pair) -> Field:  # noqa: ARG002 - no pair can be registered
        """Refuse.

        Raises:
            RunError: always.
        """
        raise RunError(
            "The fields of this run were made elsewhere, and were not kept; score them again with 'regbench evaluate "
            "--save-fields'."
        )
