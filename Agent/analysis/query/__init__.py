"""DuckDB over the lines of a session.

`engine` runs, `views` names and shapes what comes back, `data_files` finds.
"""
