"""Compressors of what workers send: unbiased and contractive ones, their size and what travels. Imports core."""

from rayopt.compression.base import Compressor, Identity, Kept, Stays
from rayopt.compression.composed import Composition, ErrorFeedback
from rayopt.compression.config import COMPRESSORS, compressor, unbiased
from rayopt.compression.quantised import QSGD, Natural
from rayopt.compression.sketched import CORE, RotatedQuantisation
from rayopt.compression.sparse import BernoulliSampling, PermK, RandK, RandKStream, ScaledRandK, TopK, UnbiasedTop1
from rayopt.core.tasks import FLOAT_BITS

__all__ = [
    "COMPRESSORS",
    "CORE",
    "FLOAT_BITS",
    "QSGD",
    "BernoulliSampling",
    "Composition",
    "Compressor",
    "ErrorFeedback",
    "Identity",
    "Kept",
    "Natural",
    "PermK",
    "RandK",
    "RandKStream",
    "RotatedQuantisation",
    "ScaledRandK",
    "Stays",
    "TopK",
    "UnbiasedTop1",
    "compressor",
    "unbiased",
]
