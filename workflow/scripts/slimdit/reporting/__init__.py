"""A study's JSON files to tables and figures."""
