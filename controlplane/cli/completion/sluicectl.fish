# SPDX-License-Identifier: Apache-2.0
# for fish: sluicectl completion fish | source
function __sluicectl_names
  set -l scope --timeout 1s
  set -l words (commandline -opc)
  for i in (seq (count $words))
    switch $words[$i]
      case -n --namespace --server --provider --certificate-authority --client-certificate --client-key
        test $i -lt (count $words); and set -a scope $words[$i] $words[(math $i + 1)]
      case -A --all-namespaces
        set -a scope -A
    end
  end
  sluicectl get $argv[1] -o name $scope 2>/dev/null | string replace -r '^[a-z]*/' ''
end

set -l seen __fish_seen_subcommand_from
set -l commands apply expose delete get describe port-forward flows status explain role drain undrain doctor \
  completion version
set -l kinds services backends ports flows drops events providers pools
complete -c sluicectl -f
complete -c sluicectl -n "not $seen $commands" -a "$commands"
complete -c sluicectl -s n -l namespace -x -d 'namespace'
complete -c sluicectl -s A -l all-namespaces -d 'all namespaces'
complete -c sluicectl -s o -l output -x -a 'table wide json yaml name' -d 'form of the output'
complete -c sluicectl -l provider -x -a '(__sluicectl_names providers)' -d 'whose services'
complete -c sluicectl -l server -x -d 'unix:PATH'
complete -c sluicectl -l timeout -x -d 'longest wait for an answer'
complete -c sluicectl -l help -d 'help'

complete -c sluicectl -n "$seen apply delete" -s f -l filename -r -F
complete -c sluicectl -n "$seen apply delete expose" -l dry-run
complete -c sluicectl -n "$seen expose" -l type -x -a 'ClusterIP NodePort LoadBalancer ExternalName'
complete -c sluicectl -n "$seen expose" -l protocol -x -a 'TCP UDP SCTP'
for option in port target-port node-port load-balancer-ip external-ip external-name selector backend
  complete -c sluicectl -n "$seen expose" -l $option -x
end
complete -c sluicectl -n "$seen apply delete" -l expected-revision -x
complete -c sluicectl -n "$seen apply" -l replace

complete -c sluicectl -n "$seen delete describe port-forward; and not $seen service" \
  -a service
complete -c sluicectl -n "$seen delete describe port-forward; and $seen service" \
  -a '(__sluicectl_names services)'

complete -c sluicectl -n "$seen get; and not $seen $kinds svc service" \
  -a "$kinds"
complete -c sluicectl -n "$seen get; and $seen services service svc backends flows events" \
  -a '(__sluicectl_names services)'
complete -c sluicectl -n "$seen get; and $seen ports" \
  -a '(__sluicectl_names ports)'
complete -c sluicectl -n "$seen get; and $seen drops" \
  -a '(__sluicectl_names drops)'
complete -c sluicectl -n "$seen get; and $seen providers" \
  -a '(__sluicectl_names providers)'
complete -c sluicectl -n "$seen get; and $seen pools" \
  -a '(__sluicectl_names pools)'
complete -c sluicectl -n "$seen get" -s w -l watch
complete -c sluicectl -n "$seen get" -l client -x
complete -c sluicectl -n "$seen get" -l backend -x
complete -c sluicectl -n "$seen get" -l service -x \
  -a '(__sluicectl_names services)'
complete -c sluicectl -n "$seen get" -l limit -x

complete -c sluicectl -n "$seen get flows" -l state -x \
  -a 'udp half_open established closing time_wait reset'
complete -c sluicectl -n "$seen flows; and not $seen list delete get" -a 'list delete'
complete -c sluicectl -n "$seen flows" -l client -x
complete -c sluicectl -n "$seen flows" -l backend -x
complete -c sluicectl -n "$seen flows" -l service -x \
  -a '(__sluicectl_names services)'
complete -c sluicectl -n "$seen flows" -l limit -x
complete -c sluicectl -n "$seen flows" -l all

complete -c sluicectl -n "$seen explain" -l from -x
complete -c sluicectl -n "$seen explain" -l to -x
complete -c sluicectl -n "$seen explain" -l protocol -x -a 'tcp udp'
complete -c sluicectl -n "$seen explain" -l port -x \
  -a '(__sluicectl_names ports)'
complete -c sluicectl -n "$seen port-forward" -l address -x
complete -c sluicectl -n "$seen port-forward" -l through-vip
complete -c sluicectl -n "$seen role" -a 'active standby'
complete -c sluicectl -n "$seen drain" -l deadline -x
complete -c sluicectl -n "$seen doctor" -l kubernetes
complete -c sluicectl -n "$seen doctor" -l config -r
complete -c sluicectl -n "$seen completion" -a 'bash zsh fish'
