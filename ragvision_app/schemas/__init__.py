"""HTTP bodies <-> core types.

What comes in is checked by pydantic (unknown fields are refused: a misspelt optional field would lose
provenance in silence). What goes out is made by the ``*_json`` functions, and the ``*Out`` models
document it; a test holds the two together, so that no answer pays for a second validation.
"""

from ragvision_app.schemas.common import AnnotatorName as AnnotatorName
from ragvision_app.schemas.common import ErrorOut as ErrorOut
from ragvision_app.schemas.common import HealthOut as HealthOut
from ragvision_app.schemas.common import In as In
from ragvision_app.schemas.common import ReadinessOut as ReadinessOut
from ragvision_app.schemas.common import image_url as image_url
from ragvision_app.schemas.labelling import DecisionOut as DecisionOut
from ragvision_app.schemas.labelling import DecisionRequest as DecisionRequest
from ragvision_app.schemas.labelling import DetailOut as DetailOut
from ragvision_app.schemas.labelling import ItemOut as ItemOut
from ragvision_app.schemas.labelling import ItemsOut as ItemsOut
from ragvision_app.schemas.labelling import LookAlikesRequest as LookAlikesRequest
from ragvision_app.schemas.labelling import QueueOut as QueueOut
from ragvision_app.schemas.labelling import QueueRequest as QueueRequest
from ragvision_app.schemas.labelling import ReleasedOut as ReleasedOut
from ragvision_app.schemas.labelling import ReleaseRequest as ReleaseRequest
from ragvision_app.schemas.labelling import decision_json as decision_json
from ragvision_app.schemas.labelling import detail_json as detail_json
from ragvision_app.schemas.labelling import evidence_json as evidence_json
from ragvision_app.schemas.labelling import item_json as item_json
from ragvision_app.schemas.labelling import items_json as items_json
from ragvision_app.schemas.labelling import queue_json as queue_json
from ragvision_app.schemas.labelling import run_status_json as run_status_json
from ragvision_app.schemas.labelling import suggestion_json as suggestion_json
from ragvision_app.schemas.records import ClassesOut as ClassesOut
from ragvision_app.schemas.records import ClassOut as ClassOut
from ragvision_app.schemas.records import ImageForm as ImageForm
from ragvision_app.schemas.records import ImageOut as ImageOut
from ragvision_app.schemas.records import LabelOut as LabelOut
from ragvision_app.schemas.records import LabelsOut as LabelsOut
from ragvision_app.schemas.records import NewClass as NewClass
from ragvision_app.schemas.records import RunsOut as RunsOut
from ragvision_app.schemas.records import SupportOut as SupportOut
from ragvision_app.schemas.records import SupportRemovedOut as SupportRemovedOut
from ragvision_app.schemas.records import class_json as class_json
from ragvision_app.schemas.records import image_json as image_json
from ragvision_app.schemas.records import label_json as label_json
from ragvision_app.schemas.records import support_json as support_json
