"""Training in several processes, each on its part of every batch (ChainerMN's words on torch.distributed).

The question: what must change in a training script so that b samples on each of n processes train like one batch of
b·n? Three things (Tokui et al. 2019, section 6.3): a ``communicator``, an ``optimizer`` that averages gradients before
each update, a ``dataset`` cut into shards. ``evaluator`` and ``batch_normalization`` see the whole batch too, and
``snapshot`` lets all go on from one iteration. ``collectives``, ``transport`` and ``arrays`` carry, ``gradients`` packs
and reduces, ``models`` compares and copies, ``groups`` starts and ends, ``launch`` runs it all from a notebook,
``failures`` says what went wrong. ``example`` is a training to run under torchrun.
"""

from toolkit.autograd.distributed.batch_normalization import (
    MultiNodeBatchNormalization,
    create_mnbn_model,
    multi_node_batch_normalization,
)
from toolkit.autograd.distributed.communicator import Communicator
from toolkit.autograd.distributed.dataset import EmptyDataset, Shard, create_empty_dataset, scatter_dataset
from toolkit.autograd.distributed.evaluator import create_multi_node_evaluator, merged_summary
from toolkit.autograd.distributed.failures import CommunicationError, DisagreementError
from toolkit.autograd.distributed.groups import LaunchError, create_communicator, install_exception_hook, process_group
from toolkit.autograd.distributed.launch import Launched, launch
from toolkit.autograd.distributed.models import replicas_differ
from toolkit.autograd.distributed.optimizer import MultiNodeOptimizer, create_multi_node_optimizer
from toolkit.autograd.distributed.snapshot import MultiNodeSnapshot

__all__ = [
    "CommunicationError",
    "Communicator",
    "DisagreementError",
    "EmptyDataset",
    "LaunchError",
    "Launched",
    "MultiNodeBatchNormalization",
    "MultiNodeOptimizer",
    "MultiNodeSnapshot",
    "Shard",
    "create_communicator",
    "create_empty_dataset",
    "create_mnbn_model",
    "create_multi_node_evaluator",
    "create_multi_node_optimizer",
    "install_exception_hook",
    "launch",
    "merged_summary",
    "multi_node_batch_normalization",
    "process_group",
    "replicas_differ",
    "scatter_dataset",
]
