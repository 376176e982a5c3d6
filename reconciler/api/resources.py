"""The four kinds as whole documents, and as specs."""

from __future__ import annotations

from reconciler.api.bootprofile import BootProfile as BootProfile
from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import Lieutenant as Lieutenant
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.task import Task as Task
from reconciler.api.task import TaskSpec
from reconciler.api.vmtree import VMTree as VMTree
from reconciler.api.vmtree import VMTreeSpec

Resource = Lieutenant | VMTree | BootProfile | Task
Spec = LieutenantSpec | VMTreeSpec | BootProfileSpec | TaskSpec
