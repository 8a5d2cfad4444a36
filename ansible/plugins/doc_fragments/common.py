# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type


class ModuleDocFragment(object):
    DOCUMENTATION = r"""
options:
  executable:
    description: The program. Without it, C(drainswap) in the remote user's C(PATH), or where system programs are.
    type: path
  haproxy_config:
    description:
      - Files and directories that haproxy.cfg is made of, in HAProxy's order.
      - Without it, C(/etc/haproxy/haproxy.cfg), or what the settings say.
    type: list
    elements: path
  socket:
    description:
      - HAProxy's runtime sockets, each a path or C(host:port), one for each load balancer with this haproxy.cfg.
      - Without it, the C(stats socket) of haproxy.cfg that has C(level admin).
    type: list
    elements: str
  master_socket:
    description:
      - The sockets of HAProxy's master processes, in the order of O(socket).
      - Without it, the C(-S) of the HAProxy that runs.
    type: list
    elements: str
  docker:
    description: The container engine, as C(unix), C(tcp), C(https) or C(ssh://), or C(context:NAME). Without it, as the docker command has it.
    type: str
  settings:
    description: The settings file. Without it, C(/etc/drainswap/drainswap.toml) if it exists.
    type: path
  as:
    description: The branch of HAProxy that haproxy.cfg is read as, such as V(2.6). Without it, that of the installed HAProxy.
    type: str
  haproxy:
    description: HAProxy's binary. Without it, the one of its unit, then C(haproxy) in C(PATH), then C(/usr/sbin/haproxy).
    type: path
  state_dir:
    description: Where locks and journals are kept. Without it, C(/var/lib/drainswap).
    type: path
  trust_owner:
    description: Users that may own the settings file and the state directory, beside root, the user that drainswap runs as and the one that called sudo.
    type: list
    elements: str
  lock_wait:
    description: How long to wait where another drainswap works on the backend, such as V(15m). Without it, not at all.
    type: str
  events:
    description: A file on the target to whose end is told what happens, one JSON object a line.
    type: path
notes:
  - The program C(drainswap) must be installed on the target, which is the load balancer's host or one that reaches it.
  - Flags win over C(DRAINSWAP_*) variables, and those over the settings file, in a task as on the command line.
"""

    POLICY = r"""
options:
  # generated: UPDATE=1 cargo test --lib collection
  # end of the generated part
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    description: Can run in check mode and tell whether anything would change, without touching it.
    support: full
  diff_mode:
    description: Tells what differs, in diff mode.
    support: full
  async:
    description: Can be run with the C(async) keyword.
    support: full
"""
