"""Who may call what, when. One function decides."""
