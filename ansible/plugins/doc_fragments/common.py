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
  floor:
    description: The least number of servers, per backend, that must be serving at any moment. Without it, 1.
    type: int
  drain_timeout:
    description: How long the sessions of a server may take to end, such as V(90s). Without it, C(5m).
    type: str
  on_drain_timeout:
    description:
      - What happens when they take longer. V(fail) puts the server back and takes the run back, V(maint) waits once more
        in maint, V(shutdown) ends them one by one, V(force) cuts them when the container stops.
      - Without it, V(fail).
    type: str
    choices: [fail, maint, shutdown, force]
  shutdown_over:
    description: Over how long O(on_drain_timeout=shutdown) ends sessions. Without it, C(10s).
    type: str
  lb_quorum:
    description: What a load balancer that does not answer means, where there are several. Without it, V(all).
    type: str
    choices: [all, reachable]
  headroom:
    description: How many per cent more than what runs now the servers that stay must have room for. Without it, 0.
    type: int
  ready_timeout:
    description: How long a new container may take until it answers. Without it, C(60s).
    type: str
  rise:
    description: How many times in a row it must answer then. Without it, 1.
    type: int
  probe:
    description: What a new container is asked beside the backend's own check, as C(/PATH) or C(http://{address}:{port}/PATH).
    type: str
  on_failure:
    description: What happens to the servers already replaced when a later one fails. Without it, V(rollback).
    type: str
    choices: [rollback, stop]
  keep:
    description: How many replaced containers of each server are kept, stopped, for a rollback that needs no image. Without it, 1.
    type: int
  silence_check:
    description:
      - Whether a server's address must stop answering when its container stops. Without it, V(true).
      - V(false) is for an address at which a relay keeps answering.
    type: bool
  renew_anon_volumes:
    description: Whether new containers get new volumes in the place of those without a name. Without it, V(false).
    type: bool
  only:
    description: The only servers of the backend that are worked on, beside whatever shares a container with them. Without it, all.
    type: list
    elements: str
  no_create:
    description: Whether a server whose container is gone is left as it is, instead of getting a new one. Without it, V(false).
    type: bool
  enable:
    description: Whether servers that a person, or C(disabled) in haproxy.cfg, has taken out are put in service, too. Without it, V(false).
    type: bool
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
