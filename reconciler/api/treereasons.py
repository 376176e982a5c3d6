"""Reasons that only a hierarchy and the limits of a fleet bring."""

from __future__ import annotations

from reconciler.api.waits import NOTHING, RESTS, Explained, Waiting

_SOON = Waiting(poll=1.0)
_WOKEN = Waiting(poll=15.0, held=True)
"""Who waits is woken when its turn has come; looking again by itself is for what nobody tells of."""


class TreeReason(Explained):
    """Why a node of a VMTree, or the whole of it, is what it is."""

    # The tree itself
    NODES_READY = "NodesReady", "All nodes are as declared.", "Nothing."
    NODES_CHANGING = "NodesChanging", "Some nodes are being brought to what is declared.", NOTHING, RESTS
    NODES_UNKNOWN = (
        "NodesUnknown",
        "How some nodes are can't be told; the others are as declared.",
        "Check `reconciler doctor` if it lasts.",
        Waiting(rests=True, unreadable=True),
    )
    NODES_STALLED = (
        "NodesStalled",
        "Some nodes can't go on without a person.",
        "See the nodes in `status.nodes`, the worst come first.",
        RESTS,
    )
    DECLARING_NODE = "DeclaringNode", "The object of a node is being declared.", NOTHING
    REVERTED = "Reverted", "Somebody changed an object that a tree declares; it was put back.", "Change the tree instead."
    WITHDRAWING_NODE = "WithdrawingNode", "The object of a node is being deleted.", NOTHING
    FORGETTING_NODE = "ForgettingNode", "Nothing is left of a node; it is taken off the tree's books.", NOTHING
    NODE_REMOVED = "NodeRemoved", "A node is no longer declared, and what it has is deleted.", "Nothing."
    NODE_REMOVAL_REFUSED = (
        "NodeRemovalRefused",
        "A node was removed that has others below it, and `policy.onNodeRemoved` is Refuse.",
        "Put it back, or set `policy.onNodeRemoved`, or confirm with the annotation `fleet.vers.sh/delete-confirmed`.",
    )
    NODE_INVALID = "NodeInvalid", "What the tree would declare for a node is not valid.", "See the message, and correct the node."
    NODE_KEPT = (
        "NodeKept",
        "A node above it was removed; as declared it stays, one level up, until it is deleted or declared again.",
        "Declare it again; to let it go, remove it then with `policy.onNodeRemoved: Cascade`.",
        RESTS,
    )
    SCALING_DOWN = "ScalingDown", "There are more replicas than declared; one that works is not removed before it is idle.", NOTHING, _SOON
    LIMIT_EXCEEDED = (
        "LimitExceeded",
        "More is declared than `limits` allows; what is beyond them is not made.",
        "Raise the limit, or declare less.",
    )
    FILES_NOT_CARRIED = (
        "FilesNotCarriedOver",
        "The category of a node changed, and the files of its machine can't be brought to the one in its place.",
        "See the message; the annotation `fleet.vers.sh/delete-confirmed` lets the machine go without them.",
    )
    NAME_TAKEN = (
        "NameTaken",
        "An object with the name of a node is declared by somebody else.",
        "Delete that object, or rename the node or the tree.",
    )

    # A profile
    BAKING = "Baking", "The machine of a profile is made once, verified and committed; later ones begin with that.", NOTHING, _SOON
    BAKED = "Baked", "A profile was baked: machines begin with its commit.", "Nothing."
    BAKE_FAILED = "BakeFailed", "A profile could not be baked; machines are made without.", "See the message, and correct the profile."
    WARMING = "Warming", "Machines of a baked profile are kept ready, suspended, for its next lieutenants.", NOTHING
    WARM_FAILED = (
        "WarmFailed",
        "A machine that was to be kept ready could not be; no more are made.",
        "See the message, and correct the profile.",
    )
    TOOK_WARM = "TookWarmMachine", "A lieutenant takes a machine that its profile has kept ready; none is made for it.", NOTHING

    # A node among the others
    PARENT_NOT_READY = "ParentNotReady", "The node above it has no prepared machine yet; roots come first.", NOTHING, _WOKEN
    CHILDREN_FIRST = "ChildrenFirst", "Nodes below it are suspended or deleted before it.", NOTHING, _WOKEN
    HANDING_OVER = (
        "HandingOver",
        "The category of a node changed: its files are brought to its new machine before either of the two gets work.",
        NOTHING,
        _WOKEN,
    )
    CAPACITY = "Capacity", "A limit is reached; it goes on when there is room.", "Nothing, or raise the limit.", _WOKEN
    HALTED = (
        "Halted",
        "The fleet is halted: nothing is created and nothing is delivered.",
        "`reconciler resume --halted`.",
        Waiting(poll=30.0, rests=True),
    )
    GOES_ON = "GoesOn", "The fleet is not halted any more.", "Nothing."
