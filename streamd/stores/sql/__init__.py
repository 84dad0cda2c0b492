"""The SQL store: the log in SQLite or PostgreSQL, by statements that are written once."""
