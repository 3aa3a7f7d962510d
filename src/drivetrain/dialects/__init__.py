"""The contracts models are written to. Each dialect recognises a project, describes it, and says how to start and call it."""
