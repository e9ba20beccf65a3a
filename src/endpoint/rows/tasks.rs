//! Workers that carry out tasks: each is an endpoint, `task NAME`.

use super::{Known, Mark, Naming, Place, Serves, Standing, place, serves};
use crate::model::Framework;
use crate::python::Step::Attribute;

const fn task(request: Place, mark: Mark, name: Place, framework: Framework) -> Serves {
    Serves {
        standing: Standing::Server,
        request,
        mark,
        naming: Naming::Work { kind: "task", name, framework },
        carrier: None,
        suspends: true,
    }
}

/// `celery.app.trace.fast_trace_task` (3.1 to 5.7): `task` is the name. A task is told by its
/// `uuid`, which no other has.
const CELERY_FAST: Serves =
    task(place("uuid", &[]), Mark::Own, place("task", &[]), Framework::Celery);

/// `celery.app.trace.trace_task_ret`: pools other than `prefork`.
const CELERY: Serves = task(place("uuid", &[]), Mark::Own, place("name", &[]), Framework::Celery);

/// `rq.worker.Worker.perform_job`, since 2.6 in a package; a job is told by its identifier.
const RQ: Serves = task(
    place("job", &[]),
    Mark::Attributes(["_id", "created_at", "data"]),
    place("job", &[Attribute("_func_name")]),
    Framework::Rq,
);

pub(super) const KNOWN: &[Known] = &[
    Known {
        file: "/celery/app/trace.py",
        functions: &["fast_trace_task", "_fast_trace_task"],
        says: serves(&CELERY_FAST),
    },
    Known {
        file: "/celery/app/trace.py",
        functions: &["trace_task_ret", "_trace_task_ret"],
        says: serves(&CELERY),
    },
    Known { file: "/rq/worker.py", functions: &["perform_job"], says: serves(&RQ) },
    Known { file: "/rq/worker/base.py", functions: &["perform_job"], says: serves(&RQ) },
];
