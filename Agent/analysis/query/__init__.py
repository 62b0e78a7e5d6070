"""DuckDB over the lines of a session.

`data_files` finds the files, `views` builds the SQL over them, `engine` runs it, `progress` interrupts it.
"""
