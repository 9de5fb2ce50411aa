"""What two packages share and no library has; knows nothing of papers or screens.

========================  ===============================================================
``core.errors``           one form for every complaint about an argument
``core.devices``          devices, generators, draws that are the same on every device
``core.files``            files that are written whole or not at all
``core.progress``         progress bars, hidden by ``TOOLKIT_QUIET=1``
``core.batches``          minibatch order that can be saved and resumed
``core.checkpoints``      the state of a training run on disk
``core.training``         the one training loop of the studies
``core.history``          the metrics that it leaves
``core.paths``            where the project's own files lie
``core.svg``              pictures of a few shapes as SVG text and as PNG
``core.graph_drawing``    directed graphs in layers, drawn with it
========================  ===============================================================

Import from the modules; this package imports none of them, so that its light parts stay light.
"""
