"""Asking a workbench as the page asks: its page is a list of what the kernel sent."""

from typing import ClassVar

from comm.base_comm import BaseComm

NET = ["conv.conv1.bias", "conv.conv1.weight", "conv.conv2.weight"]


class Page(BaseComm):
    """The other end of the wire: keeps what the kernel sends, in order."""

    sent: ClassVar[list[dict]] = []

    def publish_msg(self, msg_type, data=None, metadata=None, buffers=None, **keys):
        type(self).sent.append(data or {})


class Asked:
    """A workbench and a way to ask it one question at a time."""

    def __init__(self, view, page):
        self.view, self.page, self.last = view, page, 0

    def reply(self, question, **args):
        self.last += 1
        message = {"id": self.last, "ask": question, "args": args}
        data = {"method": "custom", "content": message}
        self.view._handle_msg({"content": {"data": data}, "buffers": []})
        replies = [m["content"] for m in self.page.sent if m.get("method") == "custom"]
        mine = [reply for reply in replies if reply["id"] == self.last]
        assert len(mine) == 1
        return mine[0]

    def ask(self, question, **args):
        reply = self.reply(question, **args)
        assert "error" not in reply, reply
        return reply["ok"]
