"""Best of n: sampled reasoning paths, scored by the ST-reward and filtered into rows."""
