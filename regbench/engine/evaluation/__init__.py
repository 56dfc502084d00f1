"""Test pairs registered, timed, refined and scored."""
