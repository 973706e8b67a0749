%% A branch of the skynet workload as a gen_server.
-module(skynode).
-behaviour(gen_server).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2, handle_continue/2]).
init({Num, Size, Parent}) -> {ok, {Num, Size, Parent, 0, 10}, {continue, go}}.
handle_continue(go, S = {Num, 1, Parent, _, _}) -> Parent ! Num, {stop, normal, S};
handle_continue(go, S = {Num, Size, _, _, _}) ->
    Me = self(), K = Size div 10,
    [{ok, _} = gen_server:start(?MODULE, {Num + I * K, K, Me}, []) || I <- lists:seq(0, 9)],
    {noreply, S}.
handle_info(N, S = {_, _, Parent, Sum, 1}) -> Parent ! (Sum + N), {stop, normal, S};
handle_info(N, {A, B, P, Sum, L}) -> {noreply, {A, B, P, Sum + N, L - 1}}.
handle_call(_, _, S) -> {reply, ok, S}.
handle_cast(_, S) -> {noreply, S}.
