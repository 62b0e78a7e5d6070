"""DuckDB over the lines of a session.

`engine` runs, `views` names, `data_files` finds, `event_dict` shapes what comes back.
"""
