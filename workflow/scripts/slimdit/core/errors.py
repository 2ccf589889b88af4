"""The one error that is the user's to mend."""


class InputError(ValueError):
    """Bad input: one sentence naming the file or key, what is wrong and what would be right."""
