"""What README.md and CONTRIBUTING.md say works: every command and option exists, the example keeps to its contract."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from regbench.cli import app
from regbench.registry import Registry
from regbench.testing import check_method

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def written_commands() -> list[list[str]]:
    """The words of every command line in a code block that calls regbench."""
    text = README + (ROOT / "CONTRIBUTING.md").read_text()
    lines = "\n".join(re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
    called = (line.rpartition("&& .venv/bin/")[2] for line in lines.splitlines())
    return [shlex.split(line, comments=True)[1:] for line in called if line.startswith("regbench ")]


@pytest.mark.parametrize("words", written_commands(), ids=" ".join)
def test_the_commands_exist_with_their_options(words: list[str]) -> None:
    command: Any = get_command(app)
    rest = list(words)
    while hasattr(command, "commands"):
        command = command.commands[rest.pop(0)]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    assert {word for word in rest if word.startswith("-")} <= known


def test_the_commands_are_found() -> None:
    assert ["run", "--task", "abdomen", "--method", "ours"] in written_commands()
    assert len(written_commands()) > 20


def test_the_example_of_a_method_keeps_to_the_contract(tmp_path: Path) -> None:
    (example,) = re.findall(r"^```python\n# mine\.py\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
    file = tmp_path / "mine.py"
    file.write_text(example)
    assert check_method(Registry([file]).load("method", "centre-of-mass")) == []


def test_ci_calls_the_test_command() -> None:
    assert README.count("<!-- tests -->") == 1
    command = README.split("<!-- tests -->")[1].split("```")[1]
    assert "pytest" in command
    assert "constraints.txt" in command
