"""Names of files in a model folder that several packages read, without importing torch."""

TRAINING_LOG = "training_log.json"
TRAINING_ARGUMENTS = "training_args.json"
