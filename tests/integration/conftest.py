"""One Ray cluster of two nodes for all tests here, with a temporary folder and ports of its own."""

import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image
from ray.cluster_utils import Cluster

from curation.storage import Store


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Cluster]:
    """Start a head and a second node, two cores each; yield the cluster."""
    # A short path: Ray's sockets live below it, and their names may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="lt-ray-", dir="/tmp", ignore_cleanup_errors=True) as d:
        arguments = {
            "num_cpus": 2,
            "object_store_memory": 100 << 20,
            "include_dashboard": False,
            "temp_dir": d,
        }
        cluster = Cluster(initialize_head=True, head_node_args=arguments)
        cluster.add_node(num_cpus=2, object_store_memory=100 << 20)
        ray.init(address=cluster.address, log_to_driver=False)
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 78 small PNGs of noise, an exact copy of one and an empty file: 40 shards of two."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(7)
    for number in range(78):
        pixels = rng.integers(0, 256, (24, 32, 3), dtype=np.uint8)
        path = folder / f"part{number % 3}" / f"picture{number:03d}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels).save(path)
    (folder / "empty.png").touch()
    copied = (folder / "part0" / "picture000.png").read_bytes()
    (folder / "part2" / "picture-copy.png").write_bytes(copied)
    return folder


BUCKET = "lake"
"""The bucket of `endpoint`."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A server with one bucket, and the environment that leads every process to it."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        s3fs.S3FileSystem.clear_instance_cache()
        # What a server holds outlives it in its process: begin with nothing.
        reset = urllib.request.Request(f"http://{host}:{port}/moto-api/reset", method="POST")
        urllib.request.urlopen(reset).close()
        Store("s3://x").fs.mkdir(BUCKET)
        yield f"http://{host}:{port}"
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()
