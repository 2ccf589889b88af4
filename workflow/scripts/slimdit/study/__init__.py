"""A study's config: what it may hold, what each row is, which file lies where and is made how.

Nothing here imports torch: every dry run reads it.
"""
