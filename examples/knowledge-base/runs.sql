-- A run of a team reads all articles of a kind, at 200 words a minute.
INSERT INTO team_runs (team, kind, articles, hours, longest, facts)
SELECT team, kind, count(*), round(sum(words) / 200.0 / 60, 2), (array_agg(title ORDER BY words DESC, title))[1:3],
    jsonb_build_object('words', sum(words), 'longest', max(words))
FROM articles GROUP BY team, kind ORDER BY team, kind
