"""numpy arrays as bodies, sent from where they are and read where they have arrived. Needs the extra `numpy`.

python -m examples.numpy_arrays
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

import arpc

Floats = NDArray[np.float32]

router = arpc.Router()


@router.handle("/normalize")
async def normalize(values: Floats) -> Floats:
    largest: np.float32 = values.max()
    return values / largest  # the array lies over the body: it can be read, not written to


@router.handle("/mean")
async def mean(image: Floats, ctx: arpc.Context) -> Floats:
    rows, columns = ctx.metadata["shape"]  # a body is flat: what else has to be known travels beside it
    means: Floats = image.reshape(rows, columns).mean(axis=1)
    return means


async def main() -> None:
    async with (
        arpc.serve("tcp://127.0.0.1:0", router, codec="raw") as server,
        arpc.connect(server.address, codec="raw") as peer,
    ):
        values = np.linspace(0, 8, 4_000_000, dtype=np.float32)  # 16 MB, not copied on the way to the socket
        normal = await peer.call("/normalize", values, returns=Floats)
        print(f"  {len(normal):,} floats from {normal.min()} to {normal.max()}")

        image = np.arange(12, dtype=np.float32).reshape(3, 4)
        means = await peer.call("/mean", image, returns=Floats, metadata={"shape": image.shape})
        print(f"  means of the rows: {means.tolist()}")

        try:
            await peer.call("/mean", np.zeros(3, ">f4"))  # big-endian: other machines would read other numbers
        except arpc.EncodeError as error:
            print(f"  not sent: {error}")


if __name__ == "__main__":
    arpc.run(main())
