"""What Burn does, by version, API and container, as one table: the only place that knows a Burn version.

`sight` tells what one of its readers would see in a file.
"""

from workbench.burn.readers import NO_FRAMEWORK, Api, Reader
from workbench.burn.seen import Seen
from workbench.burn.sight import Sight, sight
from workbench.burn.versions import APIS, DEFAULT_VERSION, VERSIONS, apis_of, reader_for

__all__ = [
    "APIS",
    "DEFAULT_VERSION",
    "NO_FRAMEWORK",
    "VERSIONS",
    "Api",
    "Reader",
    "Seen",
    "Sight",
    "apis_of",
    "reader_for",
    "sight",
]
