"""What the tests of DIFT read off a trainer: its batch, its loss and its gradients."""

import torch

PARALLEL = {"self_feeding": "parallel", "self_feed_passes": 2}
ONE_STEP = {"max_steps": 1, "optim": "sgd", "learning_rate": 0.1, "lr_scheduler_type": "constant", "max_grad_norm": 0}
PARTS = ("loss", "ce_loss", "sim_loss")


def batch_of(trainer):
    batch = dict(trainer.data_collator(list(trainer.train_dataset)))
    assert batch.pop("ids") == trainer.train_dataset["id"]
    return batch


def loss_of(trainer):
    return trainer.compute_loss(trainer.model, batch_of(trainer))


def gradients(trainer) -> dict[str, torch.Tensor]:
    trainer.model.train()
    trainer.model.zero_grad()
    loss_of(trainer).backward()
    return {name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.grad is not None}
