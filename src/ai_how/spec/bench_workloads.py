"""What a bench recipe asks of the targets that are no HTTP service: a section of the workload for each. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ai_how.spec.values import Frozen, Shape

#: A size such as `64K`, `4M` or `1G`: powers of 1024, as fio has them.
Size = Annotated[str, Shape(r"\d+[KMGT]?", "size, such as 4K, 64M or 1G")]
_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
#: Objects and files that one run may make.
MOST_FILES = 1_000_000
#: Bytes of a part of a multipart upload, but of the last, at least: S3's own rule.
LEAST_PART = 5 * 2**20


def size_bytes(size: str) -> int:
    """Bytes of a size such as ``4K``."""
    unit = size[-1] if size[-1].isalpha() else ""
    return int(size.removesuffix(unit)) * int(1024 ** _UNITS[unit])


class Texts(Frozen):
    """Texts to embed; for `embeddings`."""

    words: int = Field(32, ge=1, le=100_000, description="Words of a text in the mean.")
    spread: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="Standard deviation of the length, as a share of `words`."
    )
    batch: int = Field(8, ge=1, le=4096, description="Texts in one request.")
    seed: int = Field(1, description="Seed of the generator.")


class Retrieval(Frozen):
    """A vector store: vectors go in, an index is built, queries are asked; recall is held against exact search."""

    store: Literal["pgvector", "chroma", "faiss", "lancedb", "qdrant", "milvus"] = Field(
        description="The store. `qdrant` needs a server at `target.url`; `milvus` without one is Milvus Lite."
    )
    index: Literal["flat", "ivf", "hnsw"] = Field("hnsw", description="Index; `flat` is exact search.")
    vectors: int = Field(10_000, ge=1, le=100_000_000, description="Vectors in the store.")
    dimension: int = Field(128, ge=1, le=16_000, description="Dimension of a vector.")
    queries: int = Field(200, ge=1, le=100_000, description="Queries that recall is told of.")
    k: int = Field(10, ge=1, le=1000, description="Neighbours that a query asks for.")
    labels: int = Field(10, ge=1, description="Labels of vectors; a filtered query asks for one of them.")
    filtered: bool = Field(False, description="Measure each setting with a filter too.")
    settings: tuple[int, ...] = Field(
        (16, 64, 256), description="What an approximate search is asked with: `ef` of hnsw, probes of ivf."
    )
    links: int = Field(16, ge=2, le=100, description="Links of a node (`M`); for hnsw.")
    breadth: int = Field(100, ge=4, le=10_000, description="Breadth of the search that builds; for hnsw.")
    lists: int = Field(100, ge=1, le=100_000, description="Lists or partitions; for ivf.")
    batch: int = Field(1000, ge=1, le=100_000, description="Vectors that go in at once.")
    file: str | None = Field(
        None, description="A .npy file with vectors, one a row; generated ones when left out."
    )
    seed: int = Field(1, description="Seed of the generator.")

    @model_validator(mode="after")
    def _has_that_index(self) -> Retrieval:
        offered = {"chroma": ("hnsw",), "lancedb": ("flat", "ivf"), "qdrant": ("flat", "hnsw")}
        known = offered.get(self.store, ("flat", "ivf", "hnsw"))
        if self.index not in known:
            raise ValueError(f"{self.store} has no index '{self.index}' here; it has: {', '.join(known)}")
        if self.index != "flat" and not self.settings:
            raise ValueError("an approximate search needs 'settings', one or more")
        return self


class Fio(Frozen):
    """A file or a block device, by fio. A rate of the load is a rate of operations, `closed` is as fast as it goes."""

    pattern: Literal["read", "write", "randread", "randwrite", "rw", "randrw"] = Field(
        "randread", description="What fio does (`--rw`)."
    )
    folder: str | None = Field(
        None, description="Folder in which fio lays its file out; a scratch folder when left out."
    )
    device: str | None = Field(
        None, description="A block device to read instead of a file; it is never written to."
    )
    block: Size = Field("4K", description="Size of an operation.")
    size: Size = Field("64M", description="Size of the file, for each job.")
    depth: int = Field(1, ge=1, le=4096, description="Operations under way in each job.")
    jobs: int = Field(1, ge=1, le=1024, description="Processes.")
    direct: bool = Field(True, description="Bypass the page cache; without it, memory is measured as well.")
    engine: Literal["libaio", "io_uring", "psync", "sync", "mmap"] = Field(
        "libaio", description="How it asks."
    )
    read_share: int = Field(70, ge=0, le=100, description="Percent of reads; for rw and randrw.")
    steady: Annotated[float, Field(gt=0, le=100)] | None = Field(
        None,
        description="End when the slope of the rate over 5 s is below so many percent; fio's steady state.",
    )

    @model_validator(mode="after")
    def _spares_devices(self) -> Fio:
        if self.device is not None and self.pattern not in ("read", "randread"):
            raise ValueError("a device is only read: everything on it would be lost")
        if self.device is not None and self.folder is not None:
            raise ValueError("either 'device' or 'folder' is measured")
        return self


class Metadata(Frozen):
    """What a file system does besides moving data: make, look at, open, rename, list and remove small files."""

    folder: str | None = Field(None, description="Folder to work in; a scratch folder when left out.")
    files: int = Field(1000, ge=1, le=MOST_FILES, description="Files of each process.")
    bytes: int = Field(0, ge=0, le=1_048_576, description="Bytes in each file.")
    shared: bool = Field(
        False, description="All processes in one folder, which is hard for a parallel file system."
    )


class Checkpoint(Frozen):
    """A checkpoint as a training writes it: saved and loaded again by PyTorch, and synced to the disk."""

    folder: str | None = Field(None, description="Folder to write to; a scratch folder when left out.")
    size: Size = Field("64M", description="Size of the state.")
    tensors: int = Field(16, ge=1, le=10_000, description="Tensors in it.")
    rounds: int = Field(3, ge=1, le=1000, description="How often it is saved and loaded in a run.")
    cold: bool = Field(True, description="Drop the file from the page cache before it is loaded.")


class Loader(Frozen):
    """Samples read from files by PyTorch's data loader, as a training reads them."""

    folder: str | None = Field(None, description="Folder to work in; a scratch folder when left out.")
    files: int = Field(512, ge=1, le=MOST_FILES, description="Files, one sample each.")
    bytes: int = Field(65_536, ge=1, le=1_073_741_824, description="Bytes of a sample.")
    batch: int = Field(16, ge=1, le=65_536, description="Samples of a batch.")
    workers: int = Field(2, ge=0, le=256, description="Processes of the loader.")
    epochs: int = Field(
        2, ge=1, le=1000, description="How often all are read, in an order of its own each time."
    )
    cold: bool = Field(True, description="Drop the files from the page cache before each epoch.")


class Objects(Frozen):
    """An object store by S3. The site's own has its address and its keys; another one's keys come from variables."""

    operation: Literal["put", "get", "list", "part"] = Field(
        "get",
        description="What is asked; `part` puts the parts of multipart uploads, and completes them afterwards.",
    )
    bucket: str = Field("ai-how-bench", description="Bucket; made when it is not there.")
    bytes: int = Field(65_536, ge=0, le=67_108_864, description="Bytes of an object or of a part.")
    objects: int = Field(
        64, ge=1, le=MOST_FILES, description="Objects that are read or listed; uploads of `part`."
    )
    region: str = Field("us-east-1", description="Region, which is part of what is signed.")
    key_variable: str = Field("AWS_ACCESS_KEY_ID", description="Variable that holds the access key.")
    secret_variable: str = Field("AWS_SECRET_ACCESS_KEY", description="Variable that holds the secret key.")

    @model_validator(mode="after")
    def _has_whole_parts(self) -> Objects:
        if self.operation == "part" and self.bytes < LEAST_PART:
            raise ValueError(
                f"parts of {self.bytes:,} bytes complete no upload: S3 wants {LEAST_PART:,} or more"
            )
        return self


class Sql(Frozen):
    """A database by pgbench. A rate of the load is pgbench's own: Poisson, with its schedule lag told."""

    server: str | None = Field(
        None,
        description="libpq's words, such as `host=db.example.org dbname=bench user=me`; one of its own when left out.",
    )
    script: Literal["tpcb-like", "simple-update", "select-only"] = Field(
        "tpcb-like", description="Transactions."
    )
    scale: int = Field(1, ge=1, le=100_000, description="Size: 100,000 accounts, 15 MB, for each.")
    threads: int = Field(1, ge=1, le=1024, description="Threads of pgbench.")
    limit_ms: Annotated[float, Field(gt=0)] | None = Field(
        None,
        description="Transactions that take longer are late, and skipped when they are due that much before.",
    )


class Scheduler(Frozen):
    """Slurm itself: how fast jobs go in, start and go away, while so many others wait."""

    jobs: int = Field(20, ge=1, le=10_000, description="Jobs that are submitted one by one.")
    array: int = Field(
        100, ge=1, le=100_000, description="Tasks of the array that is submitted and cancelled."
    )
    depth: int = Field(0, ge=0, le=100_000, description="Jobs that wait in the queue meanwhile.")
    emulated_nodes: int = Field(
        0, ge=0, le=1024, description="Measure an emulated cluster of so many nodes; 0 is the site's own."
    )


class Training(Frozen):
    """Steps of a train recipe's own script: their time, samples a second, and what more processes and nodes bring."""

    recipe: str = Field(
        "digits", description="A shipped train recipe, or the path of one whose script uses `ai_how_job.ddp`."
    )
    processes: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2),
        min_length=1,
        description="Numbers of processes to compare; a job takes as many of its nodes as `tasks_per_node` fills.",
    )
    steps: int = Field(30, ge=2, le=100_000, description="Steps that are timed, after the first ones.")
    batch: int | None = Field(
        None,
        ge=1,
        description="Samples of a step, in each process (`--batch-size`); the recipe's when left out.",
    )


class Collective(Frozen):
    """All-reduce among processes by size: gloo on CPUs, NCCL where every process has a GPU."""

    processes: int = Field(2, ge=2, le=100_000, description="Processes.")
    sizes: tuple[Size, ...] = Field(("4K", "256K", "4M"), description="Sizes of the tensor.")
    rounds: int = Field(20, ge=1, le=100_000, description="How often each size is reduced.")
    backend: Literal["auto", "gloo", "nccl"] = Field("auto", description="`auto`: nccl where there are GPUs.")


class Chain(Frozen):
    """Retrieval-augmented answers end to end: embed the question, search, ask the model with what was found."""

    documents: int = Field(200, ge=1, le=1_000_000, description="Documents in the store.")
    words: int = Field(40, ge=1, le=10_000, description="Words of a document.")
    k: int = Field(3, ge=1, le=100, description="Documents that go into a prompt.")
    max_tokens: int = Field(16, ge=1, le=100_000, description="Tokens that an answer may have.")
    embedding_model: str | None = Field(
        None, description="The model that embeds; `target.model` when left out."
    )
    seed: int = Field(1, description="Seed of the generator.")
