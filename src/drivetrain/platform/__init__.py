"""Run many models: apps and their revisions, a durable queue, runners started and stopped by demand, files, secrets, webhooks.

Nouns and decisions are here, and the ports (protocols) of what they need: what ``queue``, ``app``, ``key``, ``secret``,
``delivery`` and ``files`` ask for is kept by adapters in ``stores``; ``fleet`` is implemented in ``fleets``. Nothing here knows
SQL, processes or a client's protocol.

    gateway ──▶ Submissions ──▶ QueueStore (durable) ──▶ Dispatcher ──▶ Runner ──▶ events ──▶ Hub (live) and QueueStore (outcome)
                                                             ▲
    Scaler: facts ─▶ autoscaling.decide ─▶ Fleet.start / Runner.stop
"""
