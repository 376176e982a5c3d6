"""Group and version of the API."""

from __future__ import annotations

GROUP = "fleet.vers.sh"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
