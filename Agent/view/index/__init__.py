"""The index of one session: columns built from its files, their storage, and reading lines again."""
