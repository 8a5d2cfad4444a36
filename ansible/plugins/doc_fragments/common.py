# -*- coding: utf-8 -*-
# Copyright: the authors of drainswap
# SPDX-License-Identifier: MIT

from __future__ import absolute_import, division, print_function

__metaclass__ = type


class ModuleDocFragment(object):
    DOCUMENTATION = r"""
options:
  executable:
    description: The path of drainswap. The default is C(drainswap) in the remote user's C(PATH), or in a system directory.
    type: path
  haproxy_config:
    description:
      - The files and directories of the configuration, in HAProxy's order.
      - The default is the one in the settings, or else C(/etc/haproxy/haproxy.cfg).
    type: list
    elements: path
  socket:
    description:
      - HAProxy's runtime sockets, each a path or C(host:port), one for each load balancer with this haproxy.cfg.
      - The default is the C(stats socket) of haproxy.cfg that has C(level admin).
    type: list
    elements: str
  master_socket:
    description:
      - The sockets of HAProxy's master processes, in the order of O(socket).
      - The default is the C(-S) of the running HAProxy.
    type: list
    elements: str
  docker:
    description: The container engine, as C(unix), C(tcp), C(https) or C(ssh://), or C(context:NAME). The default is the endpoint of the docker command.
    type: str
  settings:
    description: The settings file. The default is C(/etc/drainswap/drainswap.toml) if it exists.
    type: path
  as:
    description: Read haproxy.cfg as this version of HAProxy does, such as V(2.6). The default is the version of the installed binary.
    type: str
  haproxy:
    description: HAProxy's binary. The default is the binary of its unit, then C(haproxy) in C(PATH), then C(/usr/sbin/haproxy).
    type: path
  state_dir:
    description: The directory for locks and journals. The default is C(/var/lib/drainswap).
    type: path
  trust_owner:
    description: More users who may own the settings file and the state directory, besides root, the user that runs drainswap and the user who called sudo.
    type: list
    elements: str
  lock_wait:
    description: How long to wait for another drainswap that works on the backend, such as V(15m). The default is not to wait.
    type: str
  events:
    description: A file on the target to append events to, one JSON object per line.
    type: path
notes:
  - C(drainswap) must be installed on the target, which is the load balancer's host, or a host that can reach it.
  - Options win over C(DRAINSWAP_*) variables, and those win over the settings file, as on the command line.
"""

    POLICY = r"""
options:
  # generated: UPDATE=1 cargo test --lib collection
  floor:
    description:
      - "The minimum number of servers per backend that must be serving at any moment."
      - "The default is C(1)."
    type: int
  drain_timeout:
    description:
      - "How long the sessions of a server may take to end."
      - "The default is C(5m)."
    type: str
  on_drain_timeout:
    description:
      - "What to do if the sessions of a server exceed the drain timeout."
      - "C(fail): Fail the drain: put the server back and roll the run back."
      - "C(maint): Set the server to maint, which also ends what cookies and stick tables bring, and wait the same time again."
      - "C(shutdown): Set the server to maint, then shut down the remaining sessions one by one over a period of time."
      - "C(force): Stop the container, which cuts the remaining sessions."
      - "The default is C(fail)."
    type: str
    choices: [fail, maint, shutdown, force]
  shutdown_over:
    description:
      - "The time over which C(shutdown) ends the sessions that exceed the drain timeout."
      - "The default is C(10s)."
    type: str
  lb_quorum:
    description:
      - "Which of several load balancers must answer."
      - "C(all): Require all: do not start a run without one, and roll it back if one stops answering."
      - "C(reachable): Continue with those that answer, and bring one that returns up to date."
      - "The default is C(all)."
    type: str
    choices: [all, reachable]
  headroom:
    description:
      - "The extra capacity, in percent of the current load, that the remaining servers must have, if all of them have a maxconn."
      - "The default is C(0)."
    type: int
  ready_timeout:
    description:
      - "How long a new container may take to answer."
      - "The default is C(1m)."
    type: str
  rise:
    description:
      - "How many times in a row a new container must answer before it gets traffic."
      - "The default is C(1)."
    type: int
  probe:
    description:
      - "A probe for new containers, in addition to the backend's own check: /PATH, or http://{address}:{port}/PATH."
    type: str
  on_failure:
    description:
      - "What to do with the servers already replaced if a later one fails."
      - "C(rollback): Give every replaced server its old container back, one server at a time."
      - "C(stop): Keep the new containers and put back only the failed server."
      - "The default is C(rollback)."
    type: str
    choices: [rollback, stop]
  keep:
    description:
      - "The number of replaced containers to keep per server, stopped, for a rollback that needs no image."
      - "The default is C(1)."
    type: int
  silence_check:
    description:
      - "Whether a server's address must stop answering when its container stops; use false if a relay keeps answering there, in drainswap.toml also for single backends: C({ pay = false })."
      - "The default is C(true)."
    type: bool
  surge:
    description:
      - "Additional servers for the length of a run, with containers of the new version beside the others: a number, never, or auto for one where floor or headroom would not hold otherwise."
      - "The default is C(auto)."
    type: str
  surge_shares_volumes:
    description:
      - "Let the container of an additional server write to a volume that only one container writes to otherwise."
    type: bool
  renew_anon_volumes:
    description:
      - "Give new containers new anonymous volumes, like the Compose flag of this name; the old volumes stay with the old container until C(drainswap prune)."
    type: bool
  only:
    description:
      - "Work only on these servers of the backend, and on servers that share a container with them."
    type: list
    elements: str
  no_create:
    description:
      - "Do not create a container for a server whose container is gone; leave the server as it is."
    type: bool
  enable:
    description:
      - "Also put servers in service that an operator, or C(disabled) in haproxy.cfg, has taken out."
    type: bool
  # end of the generated part
"""

    ATTRIBUTES = r"""
attributes:
  check_mode:
    description: Can run in check mode, which shows whether anything would change, and changes nothing.
    support: full
  diff_mode:
    description: Shows the differences in diff mode.
    support: full
  async:
    description: Can be run with the C(async) keyword.
    support: full
"""
