"""The words that options take."""

from enum import StrEnum


class PresetChoice(StrEnum):
    """How long a network is trained, on which grid."""

    quick = "quick"
    paper = "paper"


class FormatChoice(StrEnum):
    """How a board is printed."""

    table = "table"
    md = "md"
    csv = "csv"
    json = "json"
    html = "html"
    latex = "latex"


class LayoutChoice(StrEnum):
    """Whose files displacement fields are written as."""

    l2r = "l2r"
    itk = "itk"


class RankingChoice(StrEnum):
    """How rows are told apart."""

    paired = "paired"
    l2r = "l2r"


class KindChoice(StrEnum):
    """The kinds of plugin, as the registry names them."""

    task = "task"
    method = "method"
    metric = "metric"
    masks = "masks"


class KindsChoice(StrEnum):
    """The kinds of plugin, as `list` takes them."""

    task = "tasks"
    method = "methods"
    metric = "metrics"
    masks = "masks"

    @property
    def kind(self) -> KindChoice:
        """What each of them is."""
        return KindChoice[self.name]
