"""How long jobs that wait for each other take on a number of devices."""

import heapq

from slimdit.plan.jobs import PlannedJob


def wall_s(jobs: list[PlannedJob], seconds: list[float], cores: int, gpus: int) -> float:
    """Seconds until the last job ends, where free cores and GPUs go to the job with the longest
    chain of jobs behind it.

    jobs: each after those that it waits for, none with more than `cores` threads or `gpus` GPUs.
    """
    followers = [[] for _ in jobs]
    for position, job in enumerate(jobs):
        for earlier in job.after:
            followers[earlier].append(position)
    chain = list(seconds)
    for position in reversed(range(len(jobs))):
        chain[position] += max((chain[later] for later in followers[position]), default=0.0)

    waits_for = [len(job.after) for job in jobs]
    ready = [position for position, count in enumerate(waits_for) if not count]
    running, now = [], 0.0
    while ready or running:
        for position in sorted(ready, key=lambda each: -chain[each]):
            job = jobs[position]
            if job.threads <= cores and job.gpus <= gpus:
                cores, gpus = cores - job.threads, gpus - job.gpus
                ready.remove(position)
                heapq.heappush(running, (now + seconds[position], position))
        now, ended = heapq.heappop(running)
        cores, gpus = cores + jobs[ended].threads, gpus + jobs[ended].gpus
        for later in followers[ended]:
            waits_for[later] -= 1
            if not waits_for[later]:
                ready.append(later)
    return now
