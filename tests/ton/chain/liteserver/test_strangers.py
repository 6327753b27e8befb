"""Somebody else's client, unmodified, with the liteserver of these tests: it is an honest one."""

from base64 import b64encode

from ton_core import NetworkGlobalID
from tonutils.clients import LiteClient

from tests.ton.chain.liteserver.answers import Answers
from tests.ton.chain.liteserver.server import Server, honestly, serving
from tests.ton.devnet.fixtures import GRAM
from tests.ton.devnet.wallets import Wallet
from ton.codec.cells import raw
from ton.devnet.chain import Devnet


async def test_tonutils_reads_accounts_histories_and_get_methods(devnet: Devnet) -> None:
    wallet, other = Wallet(), Wallet("other")
    devnet.give(wallet.address, 9 * GRAM)
    async with serving(Server(honestly(Answers(devnet)))) as server:
        client = LiteClient(
            NetworkGlobalID.MAINNET,
            ip="127.0.0.1",
            port=server.port,
            public_key=b64encode(bytes(server.key.verify_key)).decode(),
        )
        await client.connect()
        try:
            await client.send_message(wallet.transfer(other.address, GRAM).to_boc().hex())
            await client.provider.updater.refresh()
            # It has pytoniq-core check the account's proof.
            info = await client.get_info(raw(other.address))
            assert (info.balance, info.state.value) == (GRAM, "uninit")
            assert await client.run_get_method(raw(wallet.address), "seqno") == [1]
            assert len(await client.get_transactions(raw(wallet.address))) == 2
            assert len(await client.get_all_shards_info()) == 2
        finally:
            await client.close()
