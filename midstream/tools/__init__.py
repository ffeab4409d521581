"""What a model may do: one file for each kind of tool, and `_run`, through which every call goes."""
