"""The ``omma`` command; one file per subcommand."""
