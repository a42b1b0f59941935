"""Names of files in a model folder that several packages read, without importing torch."""

TRAINING_LOG = "training_log.json"
