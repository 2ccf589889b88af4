"""What a run's history says at its end."""


def final_terms(history, has_term, terms):
    """Means over the last tenth of the run; None for a term that the variant does not have."""
    last = [entry for entry in history if entry["step"] > 0.9 * history[-1]["step"]]
    means = {
        f"final_{term}": sum(entry[term] for entry in last) / len(last)
        if has_term.get(term, True)
        else None
        for term in terms
    }
    return means | {"final_window_steps": history[-1]["step"] - int(0.9 * history[-1]["step"])}


def expert_load(history):
    if not history[-1]["expert_load"]:
        return None
    return {
        "steps": [entry["step"] for entry in history],
        "load": [entry["expert_load"] for entry in history],
    }
