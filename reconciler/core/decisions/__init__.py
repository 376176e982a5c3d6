"""Everything that may be decided.

A decision is either an act (it changes something), or one of `Wait`, `Refuse`, `Steady`. Each knows its own reason, its urgency and
whether it only writes into our own books. `Action` are the acts of the kinds that this release brings, a closed union: `isinstance`
against its parts is exhaustive under mypy. A kind may bring acts of its own, derived from `Act`.
"""

from __future__ import annotations

from reconciler.core.decisions.base import Act as Act
from reconciler.core.decisions.base import Urgency as Urgency
from reconciler.core.decisions.governance import GovernAction as GovernAction
from reconciler.core.decisions.governance import HoldForBudget as HoldForBudget
from reconciler.core.decisions.governance import NoteHours as NoteHours
from reconciler.core.decisions.governance import NoteRefusals as NoteRefusals
from reconciler.core.decisions.governance import NoteRest as NoteRest
from reconciler.core.decisions.governance import NoteSpending as NoteSpending
from reconciler.core.decisions.governance import NoteTaskSpending as NoteTaskSpending
from reconciler.core.decisions.governance import NoteWake as NoteWake
from reconciler.core.decisions.governance import Remind as Remind
from reconciler.core.decisions.governance import Retire as Retire
from reconciler.core.decisions.governance import TellOfBudget as TellOfBudget
from reconciler.core.decisions.local import CloseLocal as CloseLocal
from reconciler.core.decisions.local import FenceLocal as FenceLocal
from reconciler.core.decisions.local import LeaveLocal as LeaveLocal
from reconciler.core.decisions.local import LocalAction as LocalAction
from reconciler.core.decisions.local import MoveToVm as MoveToVm
from reconciler.core.decisions.local import OpenLocal as OpenLocal
from reconciler.core.decisions.machine import BringMemory as BringMemory
from reconciler.core.decisions.machine import ContinueSession as ContinueSession
from reconciler.core.decisions.machine import CorrectClock as CorrectClock
from reconciler.core.decisions.machine import CountCrash as CountCrash
from reconciler.core.decisions.machine import GuestAction as GuestAction
from reconciler.core.decisions.machine import GuestClaim as GuestClaim
from reconciler.core.decisions.machine import Install as Install
from reconciler.core.decisions.machine import InstallTools as InstallTools
from reconciler.core.decisions.machine import ReadBack as ReadBack
from reconciler.core.decisions.machine import RestAgent as RestAgent
from reconciler.core.decisions.machine import RestoreSession as RestoreSession
from reconciler.core.decisions.machine import RunStep as RunStep
from reconciler.core.decisions.machine import RunVerify as RunVerify
from reconciler.core.decisions.machine import SaveMemory as SaveMemory
from reconciler.core.decisions.machine import SetModel as SetModel
from reconciler.core.decisions.machine import StartAgent as StartAgent
from reconciler.core.decisions.machine import StartKeeper as StartKeeper
from reconciler.core.decisions.machine import StopAgent as StopAgent
from reconciler.core.decisions.machine import WriteFiles as WriteFiles
from reconciler.core.decisions.profile import BakeAction as BakeAction
from reconciler.core.decisions.profile import CommitBake as CommitBake
from reconciler.core.decisions.profile import DropBake as DropBake
from reconciler.core.decisions.profile import DropBaked as DropBaked
from reconciler.core.decisions.profile import DropWarm as DropWarm
from reconciler.core.decisions.profile import FindBaked as FindBaked
from reconciler.core.decisions.profile import FindWarm as FindWarm
from reconciler.core.decisions.profile import NoteBaked as NoteBaked
from reconciler.core.decisions.profile import NoteBakeFailed as NoteBakeFailed
from reconciler.core.decisions.profile import ProfileAction as ProfileAction
from reconciler.core.decisions.profile import RestWarm as RestWarm
from reconciler.core.decisions.profile import StartBake as StartBake
from reconciler.core.decisions.profile import StartWarm as StartWarm
from reconciler.core.decisions.profile import WarmAction as WarmAction
from reconciler.core.decisions.replacement import AtNext as AtNext
from reconciler.core.decisions.replacement import BeginReplacement as BeginReplacement
from reconciler.core.decisions.replacement import CarryOver as CarryOver
from reconciler.core.decisions.replacement import ConfirmReplacement as ConfirmReplacement
from reconciler.core.decisions.replacement import DropReplacement as DropReplacement
from reconciler.core.decisions.replacement import EndReplacement as EndReplacement
from reconciler.core.decisions.replacement import FenceReplacement as FenceReplacement
from reconciler.core.decisions.replacement import ReplacementAction as ReplacementAction
from reconciler.core.decisions.replacement import ReturnToOld as ReturnToOld
from reconciler.core.decisions.replacement import TakeNext as TakeNext
from reconciler.core.decisions.requests import Acknowledge as Acknowledge
from reconciler.core.decisions.requests import RequestAction as RequestAction
from reconciler.core.decisions.rest import AwaitApproval as AwaitApproval
from reconciler.core.decisions.rest import Refuse as Refuse
from reconciler.core.decisions.rest import Rest as Rest
from reconciler.core.decisions.rest import Steady as Steady
from reconciler.core.decisions.rest import Wait as Wait
from reconciler.core.decisions.session import BeginSession as BeginSession
from reconciler.core.decisions.session import KeepEnd as KeepEnd
from reconciler.core.decisions.session import MirrorSession as MirrorSession
from reconciler.core.decisions.session import MoveOn as MoveOn
from reconciler.core.decisions.session import NoteSession as NoteSession
from reconciler.core.decisions.session import NoteWorkspace as NoteWorkspace
from reconciler.core.decisions.session import RewindSession as RewindSession
from reconciler.core.decisions.session import SessionAction as SessionAction
from reconciler.core.decisions.session import StandStill as StandStill
from reconciler.core.decisions.slot import Adopt as Adopt
from reconciler.core.decisions.slot import AskOriginal as AskOriginal
from reconciler.core.decisions.slot import BindCreated as BindCreated
from reconciler.core.decisions.slot import Cause as Cause
from reconciler.core.decisions.slot import ClearSlot as ClearSlot
from reconciler.core.decisions.slot import Create as Create
from reconciler.core.decisions.slot import Delete as Delete
from reconciler.core.decisions.slot import Detach as Detach
from reconciler.core.decisions.slot import DropCommit as DropCommit
from reconciler.core.decisions.slot import ForgetSnapshot as ForgetSnapshot
from reconciler.core.decisions.slot import GiveUpIntent as GiveUpIntent
from reconciler.core.decisions.slot import LabelClaim as LabelClaim
from reconciler.core.decisions.slot import MarkForDeletion as MarkForDeletion
from reconciler.core.decisions.slot import NoteCommits as NoteCommits
from reconciler.core.decisions.slot import Release as Release
from reconciler.core.decisions.slot import Resume as Resume
from reconciler.core.decisions.slot import SlotAction as SlotAction
from reconciler.core.decisions.slot import SnapshotAction as SnapshotAction
from reconciler.core.decisions.slot import SnapshotCause as SnapshotCause
from reconciler.core.decisions.slot import SnapshotLost as SnapshotLost
from reconciler.core.decisions.slot import SnapshotTaken as SnapshotTaken
from reconciler.core.decisions.slot import SnapshotVerified as SnapshotVerified
from reconciler.core.decisions.slot import Suspend as Suspend
from reconciler.core.decisions.slot import TakeSnapshot as TakeSnapshot
from reconciler.core.decisions.slot import TakeWarm as TakeWarm
from reconciler.core.decisions.spare import AcceptSpare as AcceptSpare
from reconciler.core.decisions.spare import FinishSpare as FinishSpare
from reconciler.core.decisions.spare import RefuseRollback as RefuseRollback
from reconciler.core.decisions.spare import RejectSpare as RejectSpare
from reconciler.core.decisions.spare import SpareAction as SpareAction
from reconciler.core.decisions.spare import StartSpare as StartSpare
from reconciler.core.decisions.spare import SwapMachines as SwapMachines
from reconciler.core.decisions.spare import UseSpare as UseSpare
from reconciler.core.decisions.task import AbortTurn as AbortTurn
from reconciler.core.decisions.task import AnswerQuestion as AnswerQuestion
from reconciler.core.decisions.task import Continue as Continue
from reconciler.core.decisions.task import Deliver as Deliver
from reconciler.core.decisions.task import Escalate as Escalate
from reconciler.core.decisions.task import ExpireTask as ExpireTask
from reconciler.core.decisions.task import Finish as Finish
from reconciler.core.decisions.task import HoldForProvider as HoldForProvider
from reconciler.core.decisions.task import Landed as Landed
from reconciler.core.decisions.task import LookForArtifact as LookForArtifact
from reconciler.core.decisions.task import NoteAnswer as NoteAnswer
from reconciler.core.decisions.task import Progress as Progress
from reconciler.core.decisions.task import Reprompt as Reprompt
from reconciler.core.decisions.task import SendSteer as SendSteer
from reconciler.core.decisions.task import TaskAction as TaskAction
from reconciler.core.decisions.task import TryAgain as TryAgain
from reconciler.core.decisions.task import Verify as Verify
from reconciler.core.decisions.task import Withdraw as Withdraw
from reconciler.core.decisions.tree import CarryFiles as CarryFiles
from reconciler.core.decisions.tree import ChangeNode as ChangeNode
from reconciler.core.decisions.tree import DeclareNodes as DeclareNodes
from reconciler.core.decisions.tree import FollowMode as FollowMode
from reconciler.core.decisions.tree import ForgetNodes as ForgetNodes
from reconciler.core.decisions.tree import HandoverAction as HandoverAction
from reconciler.core.decisions.tree import KeepNodes as KeepNodes
from reconciler.core.decisions.tree import NoteBeside as NoteBeside
from reconciler.core.decisions.tree import NoteBudget as NoteBudget
from reconciler.core.decisions.tree import NoteRevision as NoteRevision
from reconciler.core.decisions.tree import TreeAction as TreeAction
from reconciler.core.decisions.tree import WithdrawNodes as WithdrawNodes
from reconciler.core.decisions.tree import WithdrawOther as WithdrawOther

Action = (
    RequestAction
    | SlotAction
    | TakeWarm
    | GuestAction
    | SessionAction
    | LocalAction
    | ReplacementAction
    | SpareAction
    | GovernAction
    | TaskAction
    | TreeAction
    | ProfileAction
)
Decision = Act | Rest
