"""What a board says, as tables that do not yet know where they will be printed."""
