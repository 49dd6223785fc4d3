"""Converts jobs between the proto messages and the core's classes. Checks nothing: the server checks requests."""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import UTC
from typing import Final

from munjang.bulk.job import Job, JobProgress, JobSpec, JobState
from munjang.errors import JobError
from munjang.kinds import Role
from munjang.v1 import job_service_pb2 as pb2
from munjang.v1 import resources_pb2

STATE_NUMBERS: Final = {state: pb2.JobState.Value(f"JOB_STATE_{state.name}") for state in JobState}
STATES: Final = {number: state for state, number in STATE_NUMBERS.items()}
ROLE_NUMBERS: Final = {
    None: resources_pb2.ROLE_UNSPECIFIED,
    **{role: resources_pb2.Role.Value(f"ROLE_{role.name}") for role in Role},
}
ROLES: Final = {number: role for role, number in ROLE_NUMBERS.items()}


def spec_message(spec: JobSpec) -> pb2.JobSpec:
    """A spec as a message."""
    options = resources_pb2.EncodeOptions(
        version=spec.version,
        prompt_name=spec.prompt_name,
        prompt=spec.prompt,
        role=ROLE_NUMBERS[spec.role],
        normalize=spec.normalize,
        dimensions=spec.dimensions,
        precision=resources_pb2.Precision.Value(f"PRECISION_{spec.precision.upper()}"),
        truncation=resources_pb2.Truncation.Value(f"TRUNCATION_{spec.truncation.upper()}"),
    )
    return pb2.JobSpec(
        input=spec.input,
        output=spec.output,
        options=options,
        text_column=spec.text_column,
        id_column=spec.id_column,
        carry_columns=spec.carry_columns,
        format=pb2.OutputFormat.Value(f"OUTPUT_FORMAT_{spec.format.upper()}"),
        max_error_rate=spec.max_error_rate,
        input_format=spec.input_format.removeprefix("auto"),
        encoding=spec.encoding,
        quoting=spec.quoting.removeprefix("auto"),
        shard_rows=spec.shard_rows,
    )


def job_message(job: Job) -> pb2.Job:
    """A job as a message."""
    message = pb2.Job(
        id=job.id,
        spec=spec_message(job.spec),
        state=STATE_NUMBERS[job.state],
        progress=pb2.JobProgress(**asdict(job.progress)),
        version=job.version,
        space_id=job.space_id,
        message=job.message,
    )
    message.created_at.FromDatetime(job.created_at)
    if job.started_at:
        message.started_at.FromDatetime(job.started_at)
    if job.ended_at:
        message.ended_at.FromDatetime(job.ended_at)
    return message


def job_of(message: pb2.Job) -> Job:
    """A job of a message.

    Raises:
        JobError: a newer server's job, in a state that is not known here.
    """
    state = STATES.get(message.state)
    if state is None:
        msg = f"job {message.id} is in a state that this client does not know; it may be too old for the server"
        raise JobError(msg)
    return Job(
        id=message.id,
        spec=_spec_of(message.spec),
        state=state,
        created_at=message.created_at.ToDatetime(UTC),
        started_at=message.started_at.ToDatetime(UTC) if message.HasField("started_at") else None,
        ended_at=message.ended_at.ToDatetime(UTC) if message.HasField("ended_at") else None,
        version=message.version,
        space_id=message.space_id,
        message=message.message,
        progress=JobProgress(**{field.name: getattr(message.progress, field.name) for field in fields(JobProgress)}),
    )


def _spec_of(message: pb2.JobSpec) -> JobSpec:
    options = message.options
    values = {
        "input": message.input,
        "output": message.output,
        "version": options.version,
        "prompt_name": options.prompt_name,
        "prompt": options.prompt if options.HasField("prompt") else None,
        "role": ROLES.get(options.role),
        "normalize": options.normalize,
        "dimensions": options.dimensions,
        "precision": resources_pb2.Precision.Name(options.precision).removeprefix("PRECISION_").lower(),
        "truncation": resources_pb2.Truncation.Name(options.truncation).removeprefix("TRUNCATION_").lower(),
        "text_column": message.text_column,
        "id_column": message.id_column,
        "carry_columns": list(message.carry_columns),
        "format": pb2.OutputFormat.Name(message.format).removeprefix("OUTPUT_FORMAT_").lower(),
        "max_error_rate": message.max_error_rate if message.HasField("max_error_rate") else None,
        "input_format": message.input_format or "auto",
        "encoding": message.encoding,
        "quoting": message.quoting or "auto",
        "shard_rows": message.shard_rows,
    }
    return JobSpec.of_call((), values)
