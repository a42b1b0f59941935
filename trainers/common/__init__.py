"""What DIFT and 4DRL share: row validation, checkpoints, adapters, distributed training, plots."""
