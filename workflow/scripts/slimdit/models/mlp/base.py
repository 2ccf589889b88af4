"""What every MLP says of itself."""

from slimdit.models.component import Component


class Mlp(Component):
    """(B, N, C) -> (B, N, C), and where the tokens were routed, None where they are not."""

    routes_tokens = False
