%% rtbench SYSTEM WORKLOAD: runs one workload of `cargo xtask bench rt` and prints one line, as the programs in Rust do
%% (bench/src/rt has the workloads and their sizes; a run whose number of operations differs is refused).
%%
%% The systems: beam is bare processes; otp is gen_server, and supervisor where one is asked for.
-module(rtbench).
-export([main/1, init/1, handle_call/3, handle_cast/2, start_link/0]).
-behaviour(gen_server).

ops(tell1) -> 2000000; ops(tell4) -> 2000000; ops(ask_seq) -> 200000; ops(ask64) -> 640000;
ops(pingpong) -> 1000000; ops(ring) -> 1000000; ops(spawn) -> 100000; ops(mem) -> 1000000;
ops(skynet) -> 1111111; ops(fanout) -> 1000000; ops(restart) -> 2000.

main([Sys, W]) ->
    logger:set_primary_config(level, none),
    Me = self(),
    %% In a fresh process with a roomy heap, as a real driver would be.
    spawn_opt(fun() -> Me ! {out, catch run(Sys, W, ops(W))} end, [{min_heap_size, 10000}]),
    Status = receive
        {out, {Wall, Cpu, Bytes}} -> io:format("R ~w ~w ~w ~w~n", [ops(W), Wall, Cpu, Bytes]), 0;
        {out, X} -> io:format(standard_error, "~p~n", [X]), 1
    end,
    erlang:halt(Status, [{flush, true}]).

%% Wall and processor time of F, in nanoseconds.
timed(F) ->
    C0 = cpu(), T0 = erlang:monotonic_time(nanosecond),
    F(),
    T1 = erlang:monotonic_time(nanosecond), C1 = cpu(),
    {T1 - T0, C1 - C0, 0}.
%% In steps of 10 ms.
cpu() ->
    {ok, B} = file:read_file("/proc/self/stat"),
    [_, R] = binary:split(B, <<") ">>),
    L = binary:split(R, <<" ">>, [global]),
    (binary_to_integer(lists:nth(12, L)) + binary_to_integer(lists:nth(13, L))) * 10000000.
rss() ->
    {ok, B} = file:read_file("/proc/self/statm"),
    [_, R | _] = binary:split(B, <<" ">>, [global]), binary_to_integer(R) * 4096.

%% The counter as a bare process.
counter(N) ->
    receive
        {inc, K} -> counter(N + K);
        {get, From, Ref} -> From ! {Ref, N}, counter(N);
        stop -> ok;
        crash -> exit(crash)
    end.
start(beam) -> spawn(fun() -> counter(0) end);
start(otp) -> {ok, P} = gen_server:start(?MODULE, 0, []), P.
inc(beam, P) -> P ! {inc, 1};
inc(otp, P) -> gen_server:cast(P, {inc, 1}).
get(beam, P) ->
    Ref = erlang:monitor(process, P),
    P ! {get, self(), Ref},
    receive
        {Ref, N} -> erlang:demonitor(Ref, [flush]), N;
        {'DOWN', Ref, _, _, R} -> exit(R)
    end;
get(otp, P) -> gen_server:call(P, get, infinity).
%% The actors as gen_servers.
start_link() -> gen_server:start_link({local, child}, ?MODULE, 0, []).
init(sup) -> {ok, {#{strategy => one_for_one, intensity => 1000000, period => 1}, [#{id => c, start => {?MODULE, start_link, []}}]}};
init({leaf, C, Me}) -> {ok, {leaf, C, Me}};
init({node, Next, Done}) -> {ok, {node, Next, Done}};
init(N) -> {ok, N}.
handle_call({next, P}, _, {node, _, D}) -> {reply, ok, {node, P, D}};
handle_call(get, _, N) -> {reply, N, N}.
handle_cast(crash, _) -> exit(crash);
handle_cast(stop, N) -> {stop, normal, N};
handle_cast({ball, 0}, S = {node, _, D}) -> D ! done, {noreply, S};
handle_cast({ball, K}, S = {node, Nx, _}) -> gen_server:cast(Nx, {ball, K - 1}), {noreply, S};
handle_cast({inc, _}, S = {leaf, C, Me}) -> leaf_hit(C, Me), {noreply, S};
handle_cast({inc, K}, N) -> {noreply, N + K}.

leaf_hit(C, Me) -> case atomics:sub_get(C, 1, 1) of 0 -> Me ! round; _ -> ok end.

times(0, _) -> ok;
times(N, F) -> F(), times(N - 1, F).
par(P, F) ->
    Rs = [element(2, spawn_monitor(F)) || _ <- lists:seq(1, P)],
    [receive {'DOWN', R, _, _, _} -> ok end || R <- Rs], ok.

%% The workloads.
run(S, tell1, N) -> tell(S, 1, N);
run(S, tell4, N) -> tell(S, 4, N);
run(S, ask_seq, N) ->
    P = start(S), timed(fun() -> times(N, fun() -> get(S, P) end) end);
run(S, ask64, N) ->
    P = start(S), timed(fun() -> par(64, fun() -> times(N div 64, fun() -> get(S, P) end) end) end);
run(beam, pingpong, N) ->
    Me = self(),
    A = spawn(fun() -> receive {next, B} -> node_loop(B, Me) end end),
    B = spawn(fun() -> node_loop(A, Me) end),
    A ! {next, B},
    timed(fun() -> A ! {ball, N}, receive done -> ok end end);
run(otp, pingpong, N) ->
    {ok, A} = gen_server:start(?MODULE, {node, none, self()}, []),
    {ok, B} = gen_server:start(?MODULE, {node, A, self()}, []),
    gen_server:call(A, {next, B}),
    timed(fun() -> gen_server:cast(A, {ball, N}), receive done -> ok end end);
run(beam, ring, N) ->
    Me = self(),
    A = spawn(fun() -> receive {next, B} -> node_loop(B, Me) end end),
    L = lists:foldl(fun(_, Nx) -> spawn(fun() -> node_loop(Nx, Me) end) end, A, lists:seq(2, 1000)),
    A ! {next, L},
    timed(fun() -> A ! {ball, N}, receive done -> ok end end);
run(otp, ring, N) ->
    {ok, A} = gen_server:start(?MODULE, {node, none, self()}, []),
    L = lists:foldl(fun(_, Nx) -> {ok, P} = gen_server:start(?MODULE, {node, Nx, self()}, []), P end, A, lists:seq(2, 1000)),
    gen_server:call(A, {next, L}),
    timed(fun() -> gen_server:cast(A, {ball, N}), receive done -> ok end end);
run(beam, spawn, N) ->
    timed(fun() ->
        L = [spawn_monitor(fun() -> counter(0) end) || _ <- lists:seq(1, N)],
        [P ! stop || {P, _} <- L],
        [receive {'DOWN', R, _, _, _} -> ok end || {_, R} <- L]
    end);
run(otp, spawn, N) ->
    timed(fun() ->
        L = [begin {ok, PM} = gen_server:start_monitor(?MODULE, 0, []), PM end || _ <- lists:seq(1, N)],
        [gen_server:cast(P, stop) || {P, _} <- L],
        [receive {'DOWN', R, _, _, _} -> ok end || {_, R} <- L]
    end);
run(S, mem, N) ->
    R0 = rss(),
    L = [start(S) || _ <- lists:seq(1, N)],
    [get(S, P) || P <- L],
    R1 = rss(),
    put(keep, L),
    {0, 0, (R1 - R0) div N};
run(beam, skynet, _) ->
    timed(fun() ->
        Me = self(), spawn(fun() -> sky(0, 1000000, Me) end),
        receive 499999500000 -> ok end
    end);
run(otp, skynet, _) ->
    timed(fun() ->
        Me = self(), gen_server:start(skynode, {0, 1000000, Me}, []),
        receive 499999500000 -> ok end
    end);
run(S, fanout, N) ->
    Me = self(), C = atomics:new(1, []),
    L = case S of
        beam -> [spawn(fun() -> leaf(C, Me, 0) end) || _ <- lists:seq(1, 10000)];
        otp -> [begin {ok, P} = gen_server:start(?MODULE, {leaf, C, Me}, []), P end || _ <- lists:seq(1, 10000)]
    end,
    timed(fun() -> times(N div 10000, fun() ->
        atomics:put(C, 1, 10000), [inc(S, P) || P <- L], receive round -> ok end end) end);
run(otp, restart, N) ->
    process_flag(trap_exit, true),
    {ok, _} = supervisor:start_link(?MODULE, sup),
    gen_server:call(child, get),
    timed(fun() -> times(N, fun() ->
        gen_server:cast(child, crash), again() end) end);
run(beam, restart, N) ->
    %% A supervisor written by hand: it watches, starts anew and registers the name again.
    Me = self(),
    spawn(fun() -> respawn(Me) end),
    receive ready -> ok end,
    timed(fun() -> times(N, fun() -> child ! crash, again_beam() end) end).

again() -> case catch gen_server:call(child, get, infinity) of N when is_integer(N) -> ok; _ -> erlang:yield(), again() end.
again_beam() ->
    case whereis(child) of
        undefined -> erlang:yield(), again_beam();
        P -> case catch get(beam, P) of N when is_integer(N) -> ok; _ -> again_beam() end
    end.
respawn(Me) ->
    {P, R} = spawn_monitor(fun() -> counter(0) end),
    register(child, P), Me ! ready,
    receive {'DOWN', R, _, _, _} -> respawn(Me) end.

tell(S, P, N) ->
    A = start(S),
    timed(fun() ->
        par(P, fun() -> times(N div P, fun() -> inc(S, A) end) end),
        N = get(S, A)
    end).

node_loop(Nx, Me) ->
    receive {ball, 0} -> Me ! done; {ball, K} -> Nx ! {ball, K - 1}, node_loop(Nx, Me) end.
leaf(C, Me, S) -> receive {inc, K} -> leaf_hit(C, Me), leaf(C, Me, S + K) end.

sky(Num, 1, Parent) -> Parent ! Num;
sky(Num, Size, Parent) ->
    Me = self(), S = Size div 10,
    [spawn(fun() -> sky(Num + I * S, S, Me) end) || I <- lists:seq(0, 9)],
    Parent ! sum(10, 0).
sum(0, A) -> A;
sum(K, A) -> receive N -> sum(K - 1, A + N) end.
