"""How large a bundle and its parts may be. A device with 64 MiB to spare must survive the worst of them."""

from typing import Final

BUNDLE_BYTES_MAX: Final = 32 * 1024 * 1024
FILES_MAX: Final = 9
SPEC_BYTES_MAX: Final = 256 * 1024
ARRAYS_MAX: Final = 256
ARRAY_RANK_MAX: Final = 6
PARAMETERS_MAX: Final = 64
INPUTS_MAX: Final = 16
FEATURES_MAX: Final = 256
COLUMNS_MAX: Final = 4_096
VALUES_MAX: Final = 4_096
SEQUENCE_MAX: Final = 256
OTHERS_MAX: Final = 100
CATALOGUE_MAX: Final = 200_000
ITEM_BYTES_MAX: Final = 128
GRAPH_NODES_MAX: Final = 20_000
RATINGS_MAX: Final = 5_000_000
KNOTS_MAX: Final = 64
